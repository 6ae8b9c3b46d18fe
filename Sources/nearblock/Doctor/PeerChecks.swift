import Daemon
import Foundation
import Migration
import MigrationProtocol
import Peer
import PeerModel

/// Looks at the link to another node.
struct PeerChecks {
    /// Clocks that differ by more make logs hard to compare, and certificates invalid too early.
    private static let clockTolerance = 2.0
    /// Bits a second that a link between sites may be expected to have.
    private static let wantedBits = 1e9

    let address: PeerAddress
    let protection: PeerProtection

    func findings() async -> [DoctorFinding] {
        do {
            let result = try await LinkProbe(address: address, protection: protection).measure()
            return found(result)
        } catch {
            return [.fault("peer", error.plainReason, do: nil)]
        }
    }

    private func found(_ result: LinkProbe.Result) -> [DoctorFinding] {
        let way = if case .tls = protection { "over TLS 1.3" } else { "without TLS" }
        let milliseconds = String(format: "%.1f", result.roundTripSeconds * 1000)
        var findings: [DoctorFinding] = [
            .ok("peer", "\(address) answers \(way)"), .ok("round trip", "\(milliseconds) ms"), release(result),
        ]
        guard let details = result.details else {
            let advice = "run the same release on both sides"
            return findings + [
                .warning("rate", "not measured: its release can't", do: advice),
                .warning("clock", "not compared: its release can't", do: advice), buffers(result.roundTripSeconds),
            ]
        }
        let megabits = Int(details.bytesPerSecond * 8 / 1e6)
        findings.append(.ok("rate", "at least \(megabits) Mbit/s, in a probe of at most a second"))
        findings.append(clock(details.clockDifferenceSeconds))
        findings.append(buffers(result.roundTripSeconds))
        return findings
    }

    private func release(_ result: LinkProbe.Result) -> DoctorFinding {
        let theirs = result.details.map { PlainText.line($0.release) }
        guard result.lacking.isEmpty else {
            return .warning(
                "release", "it lacks \(result.lacking.joined(separator: ", ")) of this release's protocol",
                do: "run nearblock \(Release.version) on both sides; until then migrations go without that")
        }
        return .ok("release", theirs.map { "\($0) there, \(Release.version) here" } ?? "it has all that this one has")
    }

    private func clock(_ difference: Double) -> DoctorFinding {
        let text = String(format: "%+.3f s there", difference)
        guard abs(difference) > Self.clockTolerance else { return .ok("clock", text) }
        return .warning(
            "clock", "\(text): the two clocks differ", do: "run chrony or systemd-timesyncd on both machines")
    }

    /// Looks whether TCP may have as much under way as the path holds; tcp(7).
    private func buffers(_ roundTrip: Double) -> DoctorFinding {
        let largest = HostChecks.read("/proc/sys/net/ipv4/tcp_wmem")?.split(whereSeparator: \.isWhitespace).last
        guard let bytes = largest.flatMap({ Double($0) }), roundTrip > 0 else {
            return .ok("tcp buffers", "not looked at")
        }
        // Half of the buffer is the kernel's bookkeeping.
        let possible = bytes / 2 * 8 / roundTrip
        let text = "net.ipv4.tcp_wmem allows about \(Int(min(possible, 1e12) / 1e6)) Mbit/s at this round trip"
        guard possible < Self.wantedBits else { return .ok("tcp buffers", text) }
        let needed = Int(Self.wantedBits / 8 * roundTrip * 2)
        return .warning(
            "tcp buffers", text,
            do: "for 1 Gbit/s, set the last number of net.ipv4.tcp_wmem here, and of tcp_rmem there, to \(needed)")
    }
}
