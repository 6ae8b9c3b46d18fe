extension [Range<UInt64>] {
    /// The union of these runs, as ascending runs that don't touch.
    package var ascending: Self {
        sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { runs, run in
            if let last = runs.last, last.upperBound >= run.lowerBound {
                runs[runs.count - 1] = last.lowerBound..<Swift.max(last.upperBound, run.upperBound)
            } else {
                runs.append(run)
            }
        }
    }

    /// The blocks of both, as ascending runs that don't touch.
    package func union(_ other: Self) -> Self { other.isEmpty ? self : (self + other).ascending }

    /// Whether a block is in one of these runs, which ascend and don't overlap.
    package func holds(_ block: UInt64) -> Bool {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle].upperBound <= block { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low].contains(block)
    }

    /// The same blocks, in parts of so many, but for the last.
    package func parts(of count: UInt64) -> [Self] {
        var parts: [Self] = []
        var room: UInt64 = 0
        for run in self {
            var start = run.lowerBound
            while start < run.upperBound {
                if room == 0 {
                    parts.append([])
                    room = count
                }
                let end = Swift.min(run.upperBound, start + room)
                parts[parts.count - 1].append(start..<end)
                room -= end - start
                start = end
            }
        }
        return parts
    }
}
