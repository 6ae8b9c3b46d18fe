/// The cores that a process may use, in thousandths of one.
struct CoreState: Equatable {
    /// All of them; fewer if control groups limit the process.
    var usable = 0
    /// Those of them that have been idle lately.
    var idle = 0
}
