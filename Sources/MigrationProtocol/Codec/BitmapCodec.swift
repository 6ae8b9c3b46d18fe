import NIOCore

extension BitmapPart {
    func encode(into out: inout ByteBuffer) {
        precondition(runs.count <= PostcopyMessage.maximumRuns)
        out.writeInteger(Message.Kind.bitmap.rawValue)
        out.writeText(name)
        out.writeMultipleIntegers(map.rawValue, UInt32(runs.count))
        for run in runs { out.writeMultipleIntegers(run.first, run.count) }
    }

    init?(from input: inout ByteBuffer) {
        guard let name = input.readText(maximum: Self.longestName), !name.isEmpty,
            let (code, count) = input.readMultipleIntegers(as: (UInt8, UInt32).self), let map = Map(rawValue: code),
            count <= PostcopyMessage.maximumRuns, Int(count) * 16 <= input.readableBytes
        else { return nil }
        let runs = (0..<count).map { _ in
            let (first, count) = input.readMultipleIntegers(as: (UInt64, UInt64).self)!
            return BlockRange(first: first, count: count)
        }
        self.init(name: name, map: map, runs: runs)
    }
}
