import Hashing
import NIOCore

// The fields of the messages that agree on a prefix. docs/protocol.md, "A prefix".

extension PrefixQuestion {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(
            Message.Kind.prefixQuestion.rawValue, isFinal ? 1 : 0 as UInt8, UInt32(prefixes.count))
        for prefix in prefixes { out.writeInteger(prefix) }
    }

    init?(from input: inout ByteBuffer) {
        guard let (flag, count) = input.readMultipleIntegers(as: (UInt8, UInt32).self), flag <= 1,
            (1...Self.maximumBlocks).contains(Int(count)), input.readableBytes == Int(count) * 8
        else { return nil }
        var prefixes: [UInt64] = []
        prefixes.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let prefix: UInt64 = input.readInteger() else { return nil }
            prefixes.append(prefix)
        }
        self.init(prefixes: prefixes, isFinal: flag == 1)
    }
}

extension PrefixAnswer {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.prefixAnswer.rawValue, UInt32(has.count))
        out.writeBits(has)
        out.writeFingerprint(digest)
    }

    init?(from input: inout ByteBuffer) {
        guard let count: UInt32 = input.readInteger(),
            (1...PrefixQuestion.maximumBlocks).contains(Int(count)),
            let has = input.readBits(Int(count)), let digest = input.readFingerprint()
        else { return nil }
        self.init(has: has, digest: digest)
    }
}
