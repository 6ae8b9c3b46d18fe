/// How much of each table and catalogue is checked when an index is opened.
public enum TableCheck: Sendable {
    /// Headers, names, and what stays in memory. The rest is only advice, and a damaged piece of it costs a miss. Reads at
    /// most 1/16 byte a block.
    case resident
    /// Every byte, for figures that must be exact: reads the files whole.
    case everything
}
