import BlockModel
import NIOCore

// The fields of the messages that open a connection. docs/protocol.md, "Opening".

extension Hello {
    init?(from input: inout ByteBuffer) {
        guard let magic: UInt64 = input.readInteger(), magic == Self.magic,
            let support = ProtocolSupport(from: &input), let purpose: UInt8 = input.readInteger(),
            let migration = MigrationID(from: &input), let isCommitted: UInt8 = input.readInteger(),
            let export = input.readText(maximum: ExportName.maximumLength)
        else { return nil }
        self.init(
            support: support, purpose: Purpose(rawValue: purpose) ?? .unknown, migration: migration,
            isCommitted: isCommitted == 1, export: export)
    }
}

extension Welcome {
    init?(from input: inout ByteBuffer) {
        guard let support = ProtocolSupport(from: &input), let blockSize: UInt32 = input.readInteger(),
            let boot: UInt64 = input.readInteger()
        else { return nil }
        self.init(support: support, blockSize: blockSize, boot: boot)
    }
}

extension ProbeAnswer {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.probed.rawValue, clockMilliseconds, received)
        out.writeText(release)
    }

    init?(from input: inout ByteBuffer) {
        guard let (clock, received) = input.readMultipleIntegers(as: (UInt64, UInt64).self),
            let release = input.readText(maximum: Self.longestRelease)
        else { return nil }
        self.init(clockMilliseconds: clock, received: received, release: release)
    }
}

extension ProtocolSupport {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(versions.lowerBound, versions.upperBound, capabilities.rawValue)
    }

    init?(from input: inout ByteBuffer) {
        guard let (lowest, highest, capabilities) = input.readMultipleIntegers(as: (UInt16, UInt16, UInt64).self),
            lowest <= highest
        else { return nil }
        self.init(versions: lowest...highest, capabilities: Capabilities(rawValue: capabilities))
    }
}

extension Offer {
    func encode(into out: inout ByteBuffer) {
        out.writeInteger(Message.Kind.offer.rawValue)
        migration.encode(into: &out)
        out.writeInteger(UInt8(clamping: abandoned.count))
        for attempt in abandoned.prefix(Int(UInt8.max)) { attempt.encode(into: &out) }
        out.writeMultipleIntegers(size, blockSize)
        out.writeText(export)
        out.writeInteger(UInt8(clamping: domains.count))
        for domain in domains.prefix(Int(UInt8.max)) { out.writeText(domain) }
        details?.encode(into: &out)
    }

    init?(from input: inout ByteBuffer) {
        guard let migration = MigrationID(from: &input), let count: UInt8 = input.readInteger() else {
            return nil
        }
        var abandoned: [MigrationID] = []
        for _ in 0..<count {
            guard let attempt = MigrationID(from: &input) else { return nil }
            abandoned.append(attempt)
        }
        guard let (size, blockSize) = input.readMultipleIntegers(as: (UInt64, UInt32).self),
            let export = input.readText(maximum: ExportName.maximumLength), let domainCount: UInt8 = input.readInteger()
        else { return nil }
        var domains: [String] = []
        for _ in 0..<domainCount {
            guard let domain = input.readText(maximum: OfferLimits.longestDomain) else { return nil }
            domains.append(domain)
        }
        var details: OfferDetails?
        if input.readableBytes > 0 {
            guard let said = OfferDetails(from: &input) else { return nil }
            details = said
        }
        self.init(
            migration: migration, abandoned: abandoned, export: export, size: size, blockSize: blockSize,
            domains: domains, details: details)
    }
}

extension OfferDetails {
    private static let readOnly: UInt8 = 1 << 0
    private static let knowsData: UInt8 = 1 << 1

    func encode(into out: inout ByteBuffer) {
        let flags = (isReadOnly ? Self.readOnly : 0) | (dataBytes == nil ? 0 : Self.knowsData)
        out.writeMultipleIntegers(flags, dataBytes ?? 0, dataBesides)
        guard !origins.isEmpty else { return }
        precondition(origins.count <= GridLayout.maximumOrigins)
        out.writeInteger(UInt8(origins.count))
        for origin in origins { out.writeInteger(origin) }
    }

    init?(from input: inout ByteBuffer) {
        guard let (flags, data, besides) = input.readMultipleIntegers(as: (UInt8, UInt64, UInt64).self) else {
            return nil
        }
        self.init(
            isReadOnly: flags & Self.readOnly != 0, dataBytes: flags & Self.knowsData == 0 ? nil : data,
            dataBesides: besides)
        guard input.readableBytes > 0 else { return }
        guard let count: UInt8 = input.readInteger(), count > 0 else { return nil }
        for _ in 0..<count {
            guard let origin: UInt64 = input.readInteger() else { return nil }
            origins.append(origin)
        }
    }
}
