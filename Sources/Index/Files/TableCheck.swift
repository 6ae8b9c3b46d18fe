/// Amount of verification when an index is opened.
public enum TableCheck: Sendable {
    /// Verify headers, names and everything that stays in memory: at most 1/16 byte a block is read. The rest is
    /// advice; damage there costs misses.
    case resident
    /// Verify every byte, for figures that must be exact: all files are read whole.
    case everything
}
