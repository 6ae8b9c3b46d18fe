/// The parts of a table file after its header, in their order.
enum TableSection: Int, CaseIterable, CustomStringConvertible {
    case name
    case fences
    case fingerprints
    case blocks

    var description: String {
        switch self {
        case .name: "name"
        case .fences: "fences"
        case .fingerprints: "fingerprints"
        case .blocks: "block numbers"
        }
    }
}
