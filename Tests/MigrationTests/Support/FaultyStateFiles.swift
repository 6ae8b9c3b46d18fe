import Block
import Foundation
import NIOConcurrencyHelpers

@testable import Migration

/// File operations of a state directory of which one, or all from one on, fail, beside a model of what is on the disk.
///
/// The model of a name: a change is on the disk once the directory has been flushed after it. A flush that fails may have
/// written any of the changes before it, and no later flush writes those again: only a new change of the name is. The model of a
/// file: its contents are on the disk once it has been flushed; a flush that fails has lost them.
final class FaultyStateFiles: StateFiles {
    /// The process or the machine has ended: nothing is done any more.
    struct Dead: Error {}

    enum Fault: CustomStringConvertible {
        /// The operation does nothing and fails.
        case fails(CInt)
        /// The operation fails, but has been done.
        case failsDone(CInt)
        /// It and all later ones that change something fail, until `mend`.
        case stays(CInt)
        /// From the operation on all flushes of directories fail, and nothing else, until `mend`; the process ends with the
        /// first one that follows an operation of this title.
        case flushes(CInt, endsAfter: String)
        /// The process or the machine ends after the operation.
        case crash

        var description: String {
            switch self {
            case .fails(let code): "fails once with \(code)"
            case .failsDone(let code): "is done, and fails with \(code)"
            case .stays(let code): "fails with \(code), as all later ones do"
            case .flushes(let code, _): "is the first after which flushes fail with \(code)"
            case .crash: "is the last before a crash"
            }
        }
    }

    private struct Name {
        /// What a machine that starts again may find: the oldest first.
        var onDisk: [Data?]
        var current: Data?
        /// It has changed since the last flush of the directory, whether that has failed or not.
        var isDirty = false
    }

    private struct State {
        var operations: [String] = []
        var at = Int.max
        /// The fault comes with the operation that follows one of this title.
        var after: String?
        var fault = Fault.crash
        var isBroken = false
        var isDead = false
        /// By path.
        var names: [String: Name] = [:]
        /// Contents that are only in memory.
        var lost: Set<String> = []
        var open: [CInt: String] = [:]
    }

    private static let garbage = Data("{".utf8)

    /// What is on the disk is the model's.
    private let system = UnflushedStateFiles()
    private let state = NIOLockedValueBox(State())

    /// The operations so far that change something.
    var operations: [String] { state.withLockedValue { $0.operations } }

    /// Whether the fault has come.
    var hasStruck: Bool { state.withLockedValue { $0.operations.count > $0.at } }

    /// Whether the process or the machine has ended.
    var isDead: Bool { state.withLockedValue { $0.isDead } }

    /// Has an operation fail, counted from 0.
    func strike(_ fault: Fault, at operation: Int) {
        state.withLockedValue { state in
            state.at = operation
            state.fault = fault
        }
    }

    /// Has the operation fail that follows the next one of that title, as `operations` has it.
    func strike(_ fault: Fault, after title: String) {
        strike(fault, at: .max)
        state.withLockedValue { $0.after = title }
    }

    /// The process ends.
    func kill() { state.withLockedValue { $0.isDead = true } }

    /// Nothing fails any more.
    func mend() {
        state.withLockedValue { state in
            state.at = state.isBroken ? -1 : state.at
            state.isBroken = false
            state.isDead = false
        }
    }

    /// What a machine that is started again may find in a directory: with everything that may not have reached the disk gone,
    /// with all of it there, and what is between.
    func worlds(of directory: String) -> [[String: Data]] {
        state.withLockedValue { state in
            let found = state.names.compactMap { path, name -> (String, [Data?])? in
                guard path.hasPrefix("\(directory)/") else { return nil }
                let known = name.isDirty ? name.onDisk + [name.current] : name.onDisk
                return (String(path.dropFirst(directory.count + 1)), known)
            }
            return (0..<(found.map(\.1.count).max() ?? 1)).map { age in
                var world: [String: Data] = [:]
                for (name, known) in found { world[name] = known[min(age, known.count - 1)] }
                return world
            }
        }
    }

    /// As `worlds`, with each name on its own: directories are not written in order.
    func everyWorld(of directory: String) -> [[String: Data]] {
        let names = state.withLockedValue { $0.names.filter { $0.key.hasPrefix("\(directory)/") } }
        var worlds: Set<[String: Data]> = [[:]]
        // Nobody reads what is called temporary.
        for (path, name) in names where !path.hasSuffix(".tmp") {
            let known = Set(name.isDirty ? name.onDisk + [name.current] : name.onDisk)
            worlds = Set(
                worlds.flatMap { world in
                    known.map { data in
                        var world = world
                        world[String(path.dropFirst(directory.count + 1))] = data
                        return world
                    }
                })
        }
        return Array(worlds)
    }

    /// The process is started again, and finds what is in the kernel's memory.
    func revive() { state.withLockedValue { $0.isDead = false } }

    /// The machine is started again, with one of `worlds` on its disk.
    func restart(_ directory: String, with world: [String: Data]) throws {
        for name in try system.names(in: directory) { try system.unlink("\(directory)/\(name)") }
        for (name, data) in world { try data.write(to: URL(fileURLWithPath: "\(directory)/\(name)")) }
        state.withLockedValue { state in
            state = State(operations: state.operations)
            for (name, data) in world { state.names["\(directory)/\(name)"] = Name(onDisk: [data], current: data) }
        }
    }

    func create(_ path: String) throws -> CInt {
        try perform("create", path) {
            let descriptor = try system.create(path)
            state.withLockedValue { $0.open[descriptor] = path }
            change(path, to: Data())
            return descriptor
        }
    }

    func write(_ data: Data, to descriptor: CInt, _ path: String) throws {
        try perform("write", path) {
            try system.write(data, to: descriptor, path)
            change(path, to: data)
            _ = state.withLockedValue { $0.lost.insert(path) }
        }
    }

    func flush(_ descriptor: CInt, _ path: String) throws {
        // A flush of it again would succeed, and what was lost would still be.
        try perform("flush", path) { _ = state.withLockedValue { $0.lost.remove(path) } }
    }

    func close(_ descriptor: CInt) { system.close(descriptor) }

    func rename(_ old: String, to new: String) throws {
        try perform("rename", new) {
            try system.rename(old, to: new)
            let (data, isLost) = state.withLockedValue { ($0.names[old]?.current, $0.lost.contains(old)) }
            change(new, to: isLost ? Self.garbage : data)
            change(old, to: nil)
        }
    }

    func unlink(_ path: String) throws {
        try perform("unlink", path) {
            try system.unlink(path)
            change(path, to: nil)
        }
    }

    func flush(directory: String) throws {
        try perform("flush", directory, whenFailing: { endFlush(directory, isDone: false) }) {
            endFlush(directory, isDone: true)
        }
    }

    func read(_ path: String) throws -> Data? {
        if state.withLockedValue({ $0.isDead }) { throw Dead() }
        return try system.read(path)
    }

    func exists(_ path: String) throws -> Bool {
        if state.withLockedValue({ $0.isDead }) { throw Dead() }
        return try system.exists(path)
    }

    func names(in directory: String) throws -> [String] {
        if state.withLockedValue({ $0.isDead }) { throw Dead() }
        return try system.names(in: directory)
    }

    private func change(_ path: String, to data: Data?) {
        state.withLockedValue { state in
            var name = state.names[path] ?? Name(onDisk: [nil])
            name.current = data
            name.isDirty = true
            state.names[path] = name
        }
    }

    private func endFlush(_ directory: String, isDone: Bool) {
        state.withLockedValue { state in
            for (path, var name) in state.names where name.isDirty && path.hasPrefix("\(directory)/") {
                name.onDisk = isDone ? [name.current] : name.onDisk + [name.current]
                name.isDirty = false
                state.names[path] = name
            }
        }
    }

    private func perform<Result>(
        _ kind: String, _ path: String, whenFailing: () -> Void = {}, _ body: () throws -> Result
    ) throws -> Result {
        let (fault, isDead) = state.withLockedValue { state -> (Fault?, Bool) in
            if state.isDead { return (nil, true) }
            let number = state.operations.count
            let previous = state.operations.last
            state.operations.append("\(kind) \(Self.title(path))")
            if let after = state.after, previous == after { (state.at, state.after) = (number, nil) }
            guard state.isBroken || number == state.at else { return (nil, false) }
            switch state.fault {
            case .stays: state.isBroken = true
            case .flushes(_, let last):
                state.isBroken = true
                guard kind == "flush", !path.hasSuffix(".tmp") else { return (nil, false) }
                // What fails now has been begun.
                if previous == last { state.isDead = true }
            default: break
            }
            return (state.fault, false)
        }
        guard !isDead else { throw Dead() }
        switch fault {
        case nil: return try body()
        case .fails(let code)?, .stays(let code)?, .flushes(let code, _)?:
            whenFailing()
            throw FileError(kind, path, code: code)
        case .failsDone(let code)?:
            _ = try body()
            throw FileError(kind, path, code: code)
        case .crash?:
            defer { state.withLockedValue { $0.isDead = true } }
            _ = try body()
            throw Dead()
        }
    }

    /// `moved.json`, `moved.tmp`, or the last part of a directory's path.
    private static func title(_ path: String) -> String {
        let name = URL(fileURLWithPath: path).lastPathComponent
        guard let dot = name.lastIndex(of: ".") else { return name }
        return String(name[..<dot].prefix { $0 != "-" }) + String(name[dot...])
    }
}
