import Dispatch
import Foundation
import NIOConcurrencyHelpers

/// The objects of one pool and namespace. Any thread may use it; every call blocks the thread, for `limitSeconds` and a little
/// more if the cluster does not answer.
///
/// The first call connects. A client that the cluster has fenced connects again as a new one.
package final class RadosPool: Sendable {
    /// Seconds that the cluster has for an answer.
    static let limitSeconds = 5

    /// A connection; lives until the last call that uses it has ended.
    private final class Connection: @unchecked Sendable {
        let library: RadosLibrary
        let cluster: RadosLibrary.Handle
        let context: RadosLibrary.Handle

        init(_ library: RadosLibrary, _ cluster: RadosLibrary.Handle, _ context: RadosLibrary.Handle) {
            (self.library, self.cluster, self.context) = (library, cluster, context)
        }

        deinit {
            // A cluster that does not answer may hold up whoever happens to release the last reference only for a moment.
            let hasEnded = DispatchSemaphore(value: 0)
            nonisolated(unsafe) let cluster = self.cluster
            nonisolated(unsafe) let context = self.context
            Thread.detachNewThread { [library] in
                library.destroyContext(context)
                library.shutdown(cluster)
                hasEnded.signal()
            }
            _ = hasEnded.wait(timeout: .now() + .seconds(1))
        }
    }

    private struct State: Sendable {
        var connection: Connection?
        var isAway = false
        /// Calls before this moment fail at once: a look at many objects waits for an absent cluster once.
        var retry: ContinuousClock.Instant?
    }

    package let place: RadosPlace
    private let state = NIOLockedValueBox(State())
    /// Held while one thread connects.
    private let connecting = NIOLock()

    /// Whether calls fail at once for a while after the cluster has not answered.
    private let failsFast: Bool
    /// Path of Ceph's configuration; nil for the usual one.
    private let configuration: String?

    package init(_ place: RadosPlace, failsFast: Bool = true, configuration: String? = nil) {
        (self.place, self.failsFast, self.configuration) = (place, failsFast, configuration)
    }

    /// The same place over a connection of its own, on which no call fails at once because an earlier one has.
    package var patient: RadosPool { RadosPool(place, failsFast: false, configuration: configuration) }

    /// Whether the latest call found that the cluster does not answer.
    package var isAway: Bool { state.withLockedValue { $0.isAway } }

    // MARK: Objects

    /// Fills `buffer` with bytes of an object.
    /// - Returns: The number of bytes: fewer at the end of the object; 0 if there is none.
    package func read(_ object: String, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64)
        throws(RadosError) -> Int
    {
        let result = try call("read", object, allowing: [ENOENT]) { library, context in
            library.read(context, object, buffer.baseAddress, buffer.count, offset)
        }
        return max(0, Int(result))
    }

    /// Reads a small object; nil if there is none.
    package func contents(_ object: String, atMost limit: Int) throws(RadosError) -> Data? {
        var data = Data(count: limit)
        let result = try call("read", object, allowing: [ENOENT]) { library, context in
            data.withUnsafeMutableBytes { library.read(context, object, $0.baseAddress, $0.count, 0) }
        }
        return result < 0 ? nil : data.prefix(Int(result))
    }

    /// Replaces an object's bytes, or makes it.
    package func write(_ object: String, _ bytes: UnsafeRawBufferPointer) throws(RadosError) {
        _ = try call("write", object) { library, context in
            library.writeFull(context, object, bytes.baseAddress, bytes.count)
        }
    }

    /// Removes an object, if there is one.
    package func remove(_ object: String) throws(RadosError) {
        _ = try call("remove", object, allowing: [ENOENT]) { library, context in library.remove(context, object) }
    }

    /// The time of an object's last change, by the clock of the host that made it; nil if there is none.
    package func lastChange(_ object: String) throws(RadosError) -> Date? {
        try status(of: object).map { Date(timeIntervalSince1970: TimeInterval($0.time)) }
    }

    /// The number of an object's bytes; nil if there is none.
    package func size(of object: String) throws(RadosError) -> UInt64? { try status(of: object)?.size }

    private func status(of object: String) throws(RadosError) -> (size: UInt64, time: time_t)? {
        var (size, time) = (0 as UInt64, 0 as time_t)
        let result = try call("look at", object, allowing: [ENOENT]) { library, context in
            library.status(context, object, &size, &time)
        }
        return result < 0 ? nil : (size, time)
    }

    /// The value of an attribute; nil if the object does not have it.
    package func attribute(_ name: String, of object: String) throws(RadosError) -> String? {
        var bytes = [UInt8](repeating: 0, count: 256)
        let result = try call("read", object, allowing: [ENOENT, ENODATA]) { library, context in
            library.attribute(context, object, name, &bytes, bytes.count)
        }
        return result < 0 ? nil : String(decoding: bytes.prefix(Int(result)), as: UTF8.self)
    }

    /// Takes or renews a lock for a time.
    /// - Parameter cookie: Tells holders apart.
    /// - Returns: False if somebody else has it.
    package func lock(_ object: String, name: String, cookie: String, seconds: Int) throws(RadosError) -> Bool {
        let mayRenew: UInt8 = 1
        return try call("lock", object, allowing: [EBUSY]) { library, context in
            var time = timeval(tv_sec: seconds, tv_usec: 0)
            return library.lock(context, object, name, cookie, "nearblock", &time, mayRenew)
        } >= 0
    }

    package func unlock(_ object: String, name: String, cookie: String) throws(RadosError) {
        _ = try call("unlock", object, allowing: [ENOENT]) { library, context in
            library.unlock(context, object, name, cookie)
        }
    }

    // MARK: The cluster

    /// Calls a function with the connected cluster and the pool.
    /// - Parameters:
    ///   - codes: Codes that are an answer and no error.
    /// - Returns: What it returned: at least 0, or one of these codes, negative.
    func call(
        _ verb: String, _ object: String, allowing codes: Set<CInt> = [],
        _ body: (RadosLibrary, RadosLibrary.Handle) -> CInt
    ) throws(RadosError) -> CInt {
        let action = "\(verb) \(place) \(object)"
        try checkMayAsk(action)
        let connection = try connection(action)
        var result = perform(connection, body)
        // The cluster has fenced this client, perhaps for what another node of the host did; only records are kept here.
        if result == -ESHUTDOWN {
            forget(connection)
            result = perform(try self.connection(action), body)
        }
        setAway(result == -ETIMEDOUT)
        guard result >= 0 || codes.contains(-result) else { throw RadosError(action, result: result) }
        return result
    }

    /// Calls a function that concerns the cluster.
    func callCluster(
        _ action: String, _ body: (RadosLibrary, _ cluster: RadosLibrary.Handle, _ pool: RadosLibrary.Handle) -> CInt
    ) throws(RadosError) -> CInt {
        let connection = try connection(action)
        let result = withExtendedLifetime(connection) {
            body(connection.library, connection.cluster, connection.context)
        }
        guard result >= 0 else { throw RadosError(action, result: result) }
        return result
    }

    /// - Throws: `RadosError` if the cluster has just not answered.
    private func checkMayAsk(_ action: String) throws(RadosError) {
        guard failsFast, let retry = state.withLockedValue({ $0.retry }), .now < retry else { return }
        throw RadosError(action, result: -ETIMEDOUT)
    }

    private func setAway(_ isAway: Bool) {
        state.withLockedValue { state in
            state.isAway = isAway
            state.retry = isAway ? .now + .seconds(Self.limitSeconds) : nil
        }
    }

    /// Drops a connection, unless another thread has replaced it. Its end blocks, and may not come under the lock.
    private func forget(_ connection: Connection) {
        withExtendedLifetime(connection) {
            state.withLockedValue { if $0.connection === connection { $0.connection = nil } }
        }
    }

    private func perform(_ connection: Connection, _ body: (RadosLibrary, RadosLibrary.Handle) -> CInt) -> CInt {
        withExtendedLifetime(connection) { body(connection.library, connection.context) }
    }

    private func connection(_ action: String) throws(RadosError) -> Connection {
        if let connection = state.withLockedValue({ $0.connection }) { return connection }
        connecting.lock()
        defer { connecting.unlock() }
        if let connection = state.withLockedValue({ $0.connection }) { return connection }
        // Another thread may have waited in vain meanwhile.
        try checkMayAsk(action)
        do {
            let connection = try connect()
            state.withLockedValue { $0.connection = connection }
            return connection
        } catch {
            setAway(true)
            throw error
        }
    }

    private func connect() throws(RadosError) -> Connection {
        let library = try RadosLibrary()
        var handle: RadosLibrary.Handle?
        let action = "reach the cluster of \(place)"
        let user = RadosPlace.user(arguments: getenv("CEPH_ARGS").map { String(cString: $0) })
        func check(_ result: CInt, _ action: String) throws(RadosError) {
            if result < 0 { throw RadosError(action, result: result) }
        }
        try check(library.create2(&handle, "ceph", user, 0), action)
        guard let cluster = handle else { throw RadosError(action, result: -ENOMEM) }
        var isConnected = false
        defer { if !isConnected { library.shutdown(cluster) } }
        // A file that is missing is no mistake where CEPH_ARGS says all.
        let file = library.readFile(cluster, configuration)
        if file < 0, file != -ENOENT {
            throw RadosError("read Ceph's configuration, which CEPH_CONF names", result: file)
        }
        // Silent, since the operator gets a line of this program; and no call waits for longer.
        let seconds = "\(Self.limitSeconds)"
        for (name, value) in [
            ("log_to_stderr", "false"), ("err_to_stderr", "false"), ("log_file", ""), ("client_mount_timeout", seconds),
            ("rados_mon_op_timeout", seconds), ("rados_osd_op_timeout", seconds),
        ] { try check(library.set(cluster, name, value), action) }
        try check(library.parseEnvironment(cluster, nil), "use CEPH_ARGS")
        let result = library.connect(cluster)
        if result == -ENOENT, file == -ENOENT {
            throw RadosError(action, reason: "Ceph's configuration is missing; name it with CEPH_CONF", code: ENOENT)
        }
        try check(result, action)
        var context: RadosLibrary.Handle?
        let pool = library.createContext(cluster, place.pool, &context)
        if pool == -ENOENT {
            throw RadosError(
                "open \(place)",
                reason: "there is no pool '\(place.pool)'; make it with `ceph osd pool create \(place.pool)`",
                code: ENOENT)
        }
        try check(pool, "open \(place)")
        guard let context else { throw RadosError("open \(place)", result: -ENOMEM) }
        if !place.namespace.isEmpty { library.setNamespace(context, place.namespace) }
        // Writes to a full pool fail, and do not wait.
        library.setFullTry(context)
        isConnected = true
        return Connection(library, cluster, context)
    }
}
