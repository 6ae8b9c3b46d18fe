import Foundation
import NIOConcurrencyHelpers
import TLS
import TestSupport
import Testing

@testable import Daemon

/// Certificates that expire while a node runs.
@Suite("Daily looks at certificates", .timeLimit(.minutes(5)))
struct CertificateWatchTests {
    private let scratch = Scratch()

    @Test("A certificate that is replaced by an expired one -> one line at each look, and none once it is good again")
    func looks() async throws {
        let certificates = try await Certificates()
        let directory = try await certificates.directory()
        var configuration = NodeConfiguration(state: scratch.file("state"), defaultControl: nil)
        configuration.tls = TLSConfiguration(directory: directory, mode: .required, verifiesClients: false)
        let faults = NIOLockedValueBox<[String]>([])
        let days = NIOLockedValueBox(0)
        let watch = CertificateWatch(
            interval: .milliseconds(1),
            look: { [configuration] in
                days.withLockedValue { $0 += 1 }
                return configuration.certificateProblems()
            },
            report: { problem in
                if problem.isFault { faults.withLockedValue { $0.append(problem.description) } }
            })
        let task = Task { await watch.run() }
        func nextDays() async throws {
            let now = days.withLockedValue { $0 }
            try await waitUntil("two more days") { days.withLockedValue { $0 } > now + 1 }
        }
        try await nextDays()
        #expect(faults.withLockedValue { $0 }.isEmpty)
        let expired = try await certificates.directory(server: .init(isExpired: true))
        for file in ["server-cert.pem", "server-key.pem"] {
            let data = try Data(contentsOf: URL(fileURLWithPath: "\(expired)/\(file)"))
            try data.write(to: URL(fileURLWithPath: "\(directory)/\(file)"), options: .atomic)
        }
        try await waitUntil("the fault is told on several days") { faults.withLockedValue { $0.count } > 2 }
        #expect(faults.withLockedValue { $0 }.allSatisfy { $0.contains("server-cert.pem expired") })
        try await certificates.fill(directory)
        try await nextDays()
        let told = faults.withLockedValue { $0.count }
        try await nextDays()
        #expect(faults.withLockedValue { $0.count } == told)
        task.cancel()
        await task.value
    }

    @Test("The time between two looks -> a day")
    func interval() {
        let watch = CertificateWatch(look: { [] }, report: { _ in })
        #expect(watch.interval == .seconds(86400))
    }
}
