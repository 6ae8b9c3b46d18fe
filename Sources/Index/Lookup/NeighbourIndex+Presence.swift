import Glibc

extension NeighbourIndex {
    /// Whether a neighbour's image can be there: false if it is a file of this host that is gone or can't be read.
    package func isPresent(_ neighbour: Int) -> Bool {
        let neighbour = neighbours[neighbour]
        guard neighbour.host == nil, neighbour.name.hasPrefix("/") else { return true }
        return access(neighbour.name, R_OK) == 0
    }
}
