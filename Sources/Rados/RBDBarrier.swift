import Foundation
import NIOConcurrencyHelpers

/// Sees that the OSDs know which clients are fenced, before anybody relies on it.
///
/// An OSD learns of a new map with the first request that comes after it, or some time later. Until then a fenced client still
/// writes. Each placement group has a map of its own, so one object of each is asked for. Which group has an object is not known
/// here. So as many are asked for as leave none out with a probability of 1 in 10^10, or all of them.
struct RBDBarrier: Sendable {
    /// The objects of an image.
    struct Layout: Sendable {
        /// The image's own name in its pool.
        var id = ""
        var prefix = ""
        var dataPool: Int64 = 0
        var objects: UInt64 = 0

        init(of image: String, in pool: RadosPool) throws(RadosError) {
            let library = try RBDLibrary()
            var layout = (id: "", prefix: "", dataPool: 0 as Int64, objects: 0 as UInt64)
            _ = try pool.call("look at", image) { _, context in
                RBDImage.open(image, library, context) { image in
                    // rbd_image_info_t: size, size of an object, number of objects, and more.
                    var information = [UInt64](repeating: 0, count: 64)
                    var prefix = [CChar](repeating: 0, count: 256)
                    let room = information.count * 8
                    var id = [CChar](repeating: 0, count: 256)
                    let result = min(
                        library.id(image, &id, id.count),
                        information.withUnsafeMutableBytes { library.information(image, $0.baseAddress!, room) },
                        library.blockPrefix(image, &prefix, prefix.count))
                    layout = (RBDImage.text(id), RBDImage.text(prefix), library.dataPool(image), information[2])
                    return result
                }
            }
            (id, prefix, dataPool, objects) = layout
        }
    }

    private static let threads = 16

    let layout: Layout
    let namespace: String
    let library: RadosLibrary

    /// - Returns: 0 or a negative code, and how many of the objects are there.
    func pass(_ cluster: RadosLibrary.Handle, _ pool: RadosLibrary.Handle) -> (code: CInt, found: Int) {
        var handle: RadosLibrary.Handle?
        let created = library.createContextByID(cluster, layout.dataPool, &handle)
        guard created >= 0, let data = handle else { return (created < 0 ? created : -ENOMEM, 0) }
        defer { library.destroyContext(data) }
        if !namespace.isEmpty { library.setNamespace(data, namespace) }
        // Lists of the blocks that are there are in the pool of the image itself.
        let map = touch("rbd_object_map.\(layout.id)", pool)
        guard map.code >= 0 else { return map }
        let count = groups(of: cluster).map { Self.sample(of: layout.objects, groups: $0) } ?? layout.objects
        let sum = NIOLockedValueBox((code: 0 as CInt, found: 0))
        nonisolated(unsafe) let context = data
        DispatchQueue.concurrentPerform(iterations: Self.threads) { thread in
            for number in stride(from: UInt64(thread), to: count, by: Self.threads) {
                let result = touch(object(number), context)
                let code = sum.withLockedValue { sum in
                    sum = (min(sum.code, result.code), sum.found + result.found)
                    return sum.code
                }
                // The others would wait as long for a cluster that does not answer.
                guard code >= 0 else { return }
            }
        }
        return sum.withLockedValue { $0 }
    }

    /// How many objects are asked for, so that each of some groups has one of them.
    ///
    /// Some groups have half the share of others if their number is no power of two: as many as if all were so small.
    static func sample(of objects: UInt64, groups: UInt64) -> UInt64 {
        guard groups <= 1 << 32 else { return objects }
        let power = groups < 2 ? 1 : UInt64(1) << (64 - (groups - 1).leadingZeroBitCount)
        let count = Double(power) * (log(Double(power)) + 25)
        return count < Double(objects) ? UInt64(count) : objects
    }

    /// The number of placement groups of the pool with the image's bytes; nil if the cluster does not say.
    private func groups(of cluster: RadosLibrary.Handle) -> UInt64? {
        var name = [CChar](repeating: 0, count: 512)
        guard library.poolName(cluster, layout.dataPool, &name, name.count) >= 0 else { return nil }
        let request = ["prefix": "osd pool get", "pool": RBDImage.text(name), "var": "pg_num", "format": "json"]
        guard let body = try? JSONSerialization.data(withJSONObject: request) else { return nil }
        return String(decoding: body, as: UTF8.self).withCString { text in
            var command: RadosLibrary.Text? = text
            var (answer, said): (UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>?) = (nil, nil)
            var (length, saidLength) = (0, 0)
            let result = library.monitorCommand(
                cluster, &command, 1, nil, 0, &answer, &length, &said, &saidLength)
            defer {
                library.freeBuffer(answer)
                library.freeBuffer(said)
            }
            guard result >= 0, let answer, length > 0 else { return nil }
            let object = try? JSONSerialization.jsonObject(with: Data(bytes: answer, count: length))
            return ((object as? [String: Any])?["pg_num"] as? NSNumber)?.uint64Value
        }
    }

    private func object(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return "\(layout.prefix).\(String(repeating: "0", count: max(0, 16 - digits.count)))\(digits)"
    }

    private func touch(_ name: String, _ context: RadosLibrary.Handle) -> (code: CInt, found: Int) {
        var (size, time) = (0 as UInt64, 0 as time_t)
        let result = library.status(context, name, &size, &time)
        return result == -ENOENT ? (0, 0) : (min(0, result), result >= 0 ? 1 : 0)
    }
}
