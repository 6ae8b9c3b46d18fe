import BlockModel
import NIOCore

// The fields of the messages about disks that arrive at several hosts of a site. docs/protocol.md, "Neighbours of other
// hosts".

extension ArrivalQuestion {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(
            Message.Kind.arrivalQuestion.rawValue, id, order.time, order.number, wait, blockSize)
        out.writeDomains(domains)
        out.writePrefixes(prefixes)
    }

    init?(from input: inout ByteBuffer) {
        guard
            let (id, time, number, wait, blockSize) = input.readMultipleIntegers(
                as: (UInt32, UInt64, UInt64, UInt32, UInt32).self),
            wait <= Self.maximumWait, BlockGeometry.isValid(blockSize: Int(blockSize)),
            let domains = input.readDomains(), let prefixes = input.readPrefixes(maximum: Self.maximumBlocks)
        else { return nil }
        self.init(
            id: id, order: ArrivalOrder(time: time, number: number), wait: wait, blockSize: blockSize,
            domains: domains, prefixes: prefixes)
    }
}

extension ArrivalAnswer {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(
            Message.Kind.arrivalAnswer.rawValue, id, (hasDisks ? 1 : 0) | (isLate ? 2 : 0) as UInt8,
            UInt32(has.count))
        out.writeBits(has)
    }

    init?(from input: inout ByteBuffer) {
        guard let (id, flags, count) = input.readMultipleIntegers(as: (UInt32, UInt8, UInt32).self), flags <= 3,
            count <= ArrivalQuestion.maximumBlocks, let has = input.readBits(Int(count))
        else { return nil }
        self.init(id: id, hasDisks: flags & 1 != 0, isLate: flags & 2 != 0, has: has)
    }
}

extension ArrivalRead {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.arrivalRead.rawValue, id, blockSize)
        out.writeDomains(domains)
        out.writePrefixes(prefixes)
    }

    init?(from input: inout ByteBuffer) {
        guard let (id, blockSize) = input.readMultipleIntegers(as: (UInt32, UInt32).self),
            BlockGeometry.isValid(blockSize: Int(blockSize)), let domains = input.readDomains(),
            let prefixes = input.readPrefixes(maximum: Self.maximumBlocks(of: blockSize)), !prefixes.isEmpty
        else { return nil }
        self.init(id: id, blockSize: blockSize, domains: domains, prefixes: prefixes)
    }
}

extension ArrivalBytes {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.arrivalBytes.rawValue, id, UInt32(has.count))
        out.writeBits(has)
        out.writeImmutableBuffer(payload)
    }

    init?(from input: inout ByteBuffer) {
        guard let (id, count) = input.readMultipleIntegers(as: (UInt32, UInt32).self),
            count <= ArrivalQuestion.maximumBlocks, let has = input.readBits(Int(count)),
            input.readableBytes <= ArrivalRead.maximumBytes
        else { return nil }
        self.init(id: id, has: has, payload: input.takeRest())
    }
}

extension ByteBuffer {
    fileprivate mutating func writeDomains(_ domains: [String]) {
        writeInteger(UInt8(clamping: domains.count))
        for domain in domains.prefix(Int(UInt8.max)) { writeText(domain) }
    }

    fileprivate mutating func readDomains() -> [String]? {
        guard let count: UInt8 = readInteger() else { return nil }
        var domains: [String] = []
        for _ in 0..<count {
            guard let domain = readText(maximum: OfferLimits.longestDomain) else { return nil }
            domains.append(domain)
        }
        return domains
    }

    fileprivate mutating func writePrefixes(_ prefixes: [UInt64]) {
        writeInteger(UInt32(prefixes.count))
        for prefix in prefixes { writeInteger(prefix) }
    }

    fileprivate mutating func readPrefixes(maximum: Int) -> [UInt64]? {
        guard let count: UInt32 = readInteger(), Int(count) <= maximum, readableBytes == Int(count) * 8 else {
            return nil
        }
        var prefixes: [UInt64] = []
        prefixes.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let prefix: UInt64 = readInteger() else { return nil }
            prefixes.append(prefix)
        }
        return prefixes
    }
}
