/// The order in which the connections of a guest's hypervisor reach the hypervisor at the destination: the order in which
/// they were made.
///
/// QEMU takes the first connection for the main channel. That of `postcopy-preempt` has nothing at its beginning by which the
/// destination could tell it (migration/migration.c, `migration_ioc_process_incoming`).
package struct MemoryOpenings: Sendable {
    /// The state of a connection's turn.
    package enum Turn: Equatable, Sendable {
        /// An earlier connection is not at the other hypervisor yet.
        case later
        case now
        /// An earlier connection did not get there: this one would be taken for it.
        case never
    }

    private var begun = 0
    private var next = 0
    /// Connections below this number that are not open will not be.
    private var doomed = 0

    package init() {}

    /// Records a further connection.
    /// - Returns: its number.
    package mutating func begin() -> Int {
        defer { begun += 1 }
        return begun
    }

    /// The turn of a connection that is not open.
    package func turn(of number: Int) -> Turn {
        if number < doomed { return .never }
        return number <= next ? .now : .later
    }

    /// Records that a connection is at the other hypervisor.
    package mutating func open(_ number: Int) { next = max(next, number + 1) }

    /// Records that a connection has ended. If it was not open, those that were made before now are not opened, either.
    package mutating func end(_ number: Int) {
        guard number >= next else { return }
        (doomed, next) = (begun, begun)
    }
}
