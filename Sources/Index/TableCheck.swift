/// How much of each table is checked when an index is opened.
public enum TableCheck: Sendable {
    /// What stays in memory: header, name and fences. The rest is only advice, and a damaged piece of it
    /// costs a miss. Reads 0.3 % of a table.
    case resident
    /// Every byte, for figures that must be exact: reads the tables whole.
    case everything
}
