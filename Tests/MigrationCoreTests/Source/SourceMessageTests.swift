import BlockModel
import Hashing
import NIOCore
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

/// Every message in every state of the source.
@Suite("Messages that the source hears")
struct SourceMessageTests {
    typealias Fixture = SourceMachineTests

    static let wants = Wants(first: 0, wanted: [true], present: 0, repeated: 0, neighbour: 0)
    static let differences = ManifestDifferences(first: 0, differs: [true], present: 0)

    static let messages: [(name: String, message: Message)] = [
        ("welcome", .welcome(Welcome(blockSize: 4096))), ("refused", .refused(reason: "no")),
        ("accepted", .accepted), ("acceptedOnBase", .acceptedOnBase), ("wants", .wants(wants)),
        ("differences", .differences(differences)), ("manifestDone", .manifestDone),
        ("roundDone 1", .roundDone(1)), ("roundDone 2", .roundDone(2)),
        ("missing", .postcopy(.missing([BlockRange(first: 0, count: 1)]))), ("prepared", .prepared(Fixture.root)),
        ("active", .active), ("failed", .failed(reason: "why")), ("switchNow", .postcopy(.switchNow)),
        ("commit", .commit), ("rank", .postcopy(.rank)),
        ("prefixAnswer", .prefixAnswer(PrefixAnswer(has: [true]))),
    ]

    /// Each state with the messages that are in turn, and the error of the others.
    static let states: [(name: String, inTurn: Set<String>, error: String)] = [
        ("greet", ["welcome"], "no welcome"),
        ("offer", ["accepted", "acceptedOnBase"], "no answer to the offer"),
        ("open", [], "a message out of turn"),
        ("copyManifest", ["wants", "differences", "manifestDone"], "no wants"),
        ("copyManifest, done", [], "no wants"),
        ("endRound", ["roundDone 1"], "round 1 has no end"),
        ("measure", [], "a message out of turn"),
        ("wait", [], "a message out of turn"),
        ("copy", [], "round 2 has no end"),
        ("sendRest", ["roundDone 2"], "no root"),
        ("sendRest, ended", ["prepared"], "no root"),
        ("nameRest", ["missing", "prepared"], "no root"),
        ("compare", [], "no root"),
    ]

    private func machine(_ state: String) throws -> SourceMachine {
        var machine = Fixture.machine(.manual)
        func heard(_ message: Message) throws { _ = try machine.receive(message) }
        switch state {
        case "greet": break
        case "offer": try heard(.welcome(Welcome(blockSize: 4096)))
        case "open":
            try heard(.welcome(Welcome(blockSize: 4096)))
            try heard(.accepted)
        case "copyManifest": machine = try Fixture.copying(.manual)
        case "copyManifest, done":
            machine = try Fixture.copying(.manual)
            try heard(.manifestDone)
        case "endRound":
            machine = try Fixture.copying(.manual)
            _ = machine.copied()
        case "measure": machine = try Fixture.measuring(.manual)
        case "wait":
            machine = try Fixture.measuring(.manual)
            _ = machine.measured(Fixture.after(0))
        case "copy":
            machine = try Fixture.measuring(.manual)
            _ = machine.measured(Fixture.after(8))
        case "sendRest": machine = try Fixture.fenced(leavesRest: false)
        case "sendRest, ended":
            machine = try Fixture.fenced(leavesRest: false)
            try heard(.roundDone(2))
        case "nameRest": machine = try Fixture.fenced(leavesRest: true)
        case "compare":
            machine = try Fixture.fenced(leavesRest: true)
            try heard(.prepared(Fixture.root))
        default: Issue.record("\(state) is none")
        }
        return machine
    }

    @Test("A message in turn -> is taken; out of turn -> ends the migration with the error of the state")
    func table() throws {
        for state in Self.states {
            for (name, message) in Self.messages {
                var machine = try machine(state.name)
                let before = machine
                do {
                    let reception = try machine.receive(message)
                    holds(state.inTurn.contains(name) || name == "switchNow", "\(name) in \(state.name)")
                    holds(reception != .lost && reception != .active)
                    if name == "switchNow" { holds(reception == .nothing && machine == before) }
                } catch MigrationError.unexpected(let what) {
                    holds(!state.inTurn.contains(name) && what == state.error, "\(name) in \(state.name): \(what)")
                    holds(machine == before, "\(name) in \(state.name) has changed something")
                } catch MigrationError.refused(let reason) {
                    holds(name == "refused" && reason == "no")
                } catch MigrationError.peerFailed(let reason) {
                    holds(name == "failed" && reason == "why")
                }
            }
        }
    }

    @Test("The commit record may be there -> no message ends the migration, and only `active` confirms it")
    func committed() throws {
        for (name, message) in Self.messages {
            var machine = try Fixture.committing()
            holds(try machine.receive(message) == (name == "switchNow" ? .nothing : .lost), "\(name)")
            holds(machine.step == .commit)
            _ = machine.committed()
            for _ in 0..<2 {
                let expected: SourceMachine.Reception =
                    name == "switchNow" ? .nothing : name == "active" ? .active : .lost
                holds(try machine.receive(message) == expected, "\(name)")
                if machine.step == .forward { _ = machine.forwarded() }
            }
        }
    }

    @Test("A question for a prefix -> one answer to it is in turn, in any state, and no other")
    func prefixAnswer() throws {
        let answer = PrefixAnswer(has: [true, false], digest: Fingerprint(high: 1, low: 2))
        for state in Self.states {
            var machine = try machine(state.name)
            machine.asked(PrefixQuestion(prefixes: [5, 6], isFinal: true))
            let asked = machine
            #expect(throws: MigrationError.self, "\(state.name)") {
                try machine.receive(.prefixAnswer(PrefixAnswer(has: [true])))
            }
            machine = asked
            holds(try machine.receive(.prefixAnswer(answer)) == .prefix(answer), "\(state.name)")
            #expect(throws: MigrationError.self, "\(state.name)") { try machine.receive(.prefixAnswer(answer)) }
        }
    }

    @Test("A client of the destination wants to write -> only a switchover with the first write follows")
    func switchNow() throws {
        for switchover in Switchover.allCases {
            var machine = Fixture.machine(switchover)
            let expected: SourceMachine.Reception = switchover == .firstWrite ? .switchOver : .nothing
            holds(try machine.receive(.postcopy(.switchNow)) == expected)
        }
    }

    @Test("The destination's release has no post-copy -> only a switchover that converges is possible")
    func oldRelease() throws {
        var support = ProtocolSupport.own
        support.capabilities.remove(.postcopy)
        for switchover in Switchover.allCases where switchover != .converged {
            var machine = Fixture.machine(switchover)
            #expect(throws: MigrationError.self) {
                try machine.receive(.welcome(Welcome(support: support, blockSize: 4096)))
            }
        }
        var machine = try Fixture.measuring(postcopy: false)
        machine.requestSwitch()
        holds(!machine.skipsCopying)
    }

    @Test("A block size that is none -> the migration ends")
    func blockSize() {
        var machine = Fixture.machine()
        #expect(throws: MigrationError.self) { try machine.receive(.welcome(Welcome(blockSize: 5))) }
        holds(machine.step == .greet)
    }

    @Test("An estimate -> ends with the manifest")
    func estimate() throws {
        var machine = SourceMachine(size: Fixture.geometry.size, isEstimate: true)
        _ = try machine.receive(.welcome(Welcome(blockSize: 4096)))
        _ = try machine.receive(.acceptedOnBase)
        holds(machine.opened() == .copyManifest)
        holds(machine.copied() == .finish)
    }
}
