/// Finds the name that a user has probably meant.
public enum NearestName {
    /// Longer names are not compared: the work grows with the product of both lengths. Characters.
    private static let longest = 64

    /// Finds the nearest of some names: one that differs in case only, or by few insertions, deletions, replacements
    /// and swaps of neighbours.
    /// - Returns: Nil if none is near enough. Of equally near names, the first.
    public static func find(_ name: String, among names: some Sequence<String>) -> String? {
        let wanted = Array(name.lowercased())
        guard !wanted.isEmpty, wanted.count <= longest else { return nil }
        // One slip in three characters still looks like the same word.
        let limit = max(1, wanted.count / 3)
        var best: (name: String, distance: Int)?
        for candidate in names where candidate != name {
            let other = Array(candidate.lowercased())
            guard !other.isEmpty, other.count <= longest, abs(other.count - wanted.count) <= limit else { continue }
            let distance = distance(wanted, other)
            if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.name
    }

    /// The optimal string alignment distance.
    private static func distance(_ one: [Character], _ other: [Character]) -> Int {
        var before: [Int] = []
        var last = Array(0...other.count)
        for row in 1...one.count {
            var next = [row]
            for column in 1...other.count {
                let isSame = one[row - 1] == other[column - 1]
                var least = min(last[column] + 1, next[column - 1] + 1, last[column - 1] + (isSame ? 0 : 1))
                if row > 1, column > 1, one[row - 1] == other[column - 2], one[row - 2] == other[column - 1] {
                    least = min(least, before[column - 2] + 1)
                }
                next.append(least)
            }
            (before, last) = (last, next)
        }
        return last[other.count]
    }
}
