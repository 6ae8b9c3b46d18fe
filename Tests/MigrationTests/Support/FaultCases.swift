import Foundation

/// The operations that a walk through faults has fail in one of the ways in which they can.
enum FaultCases {
    /// Every operation in every way, with `NEARBLOCK_ALL_FAULTS` set.
    private static let areAll = ProcessInfo.processInfo.environment["NEARBLOCK_ALL_FAULTS"] != nil

    /// By default each operation fails in one of the ways, in turn, and of several alike the first does in all of them.
    /// - Parameters:
    ///   - operations: what they are called, in order.
    ///   - kind: the number of the way, of so many `kinds`.
    static func numbers(_ operations: [String], kind: Int, of kinds: Int) -> [Int] {
        var seen: Set<String> = []
        return operations.indices.filter { number in
            let isFirst = seen.insert(operations[number]).inserted
            return areAll || isFirst || number % kinds == kind
        }
    }
}
