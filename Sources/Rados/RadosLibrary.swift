import Glibc

/// The functions of librados that nearblock calls. The library is loaded when a node or command first needs it, so that hosts
/// without Ceph need not have it.
///
/// Each pointer has the name and the type of the function in `rados/librados.h` of Ceph 16.2. All block the thread.
struct RadosLibrary: Sendable {
    typealias Handle = UnsafeMutableRawPointer
    typealias Text = UnsafePointer<CChar>
    /// Keys or values, and their lengths.
    typealias Texts = UnsafePointer<Text?>
    typealias Lengths = UnsafePointer<Int>

    let create2: @convention(c) (UnsafeMutablePointer<Handle?>, Text, Text, UInt64) -> CInt
    let readFile: @convention(c) (Handle, Text?) -> CInt
    let parseEnvironment: @convention(c) (Handle, Text?) -> CInt
    let set: @convention(c) (Handle, Text, Text) -> CInt
    let connect: @convention(c) (Handle) -> CInt
    let shutdown: @convention(c) (Handle) -> Void
    let waitForLatestMap: @convention(c) (Handle) -> CInt
    let blocklist: @convention(c) (Handle, UnsafeMutablePointer<CChar>, UInt32) -> CInt
    let createContext: @convention(c) (Handle, Text, UnsafeMutablePointer<Handle?>) -> CInt
    let createContextByID: @convention(c) (Handle, Int64, UnsafeMutablePointer<Handle?>) -> CInt
    let destroyContext: @convention(c) (Handle) -> Void
    let setNamespace: @convention(c) (Handle, Text) -> Void
    let setFullTry: @convention(c) (Handle) -> Void
    let read: @convention(c) (Handle, Text, UnsafeMutableRawPointer?, Int, UInt64) -> CInt
    let writeFull: @convention(c) (Handle, Text, UnsafeRawPointer?, Int) -> CInt
    let remove: @convention(c) (Handle, Text) -> CInt
    let status: @convention(c) (Handle, Text, UnsafeMutablePointer<UInt64>, UnsafeMutablePointer<time_t>) -> CInt
    let attribute: @convention(c) (Handle, Text, Text, UnsafeMutableRawPointer, Int) -> CInt
    let lock: @convention(c) (Handle, Text, Text, Text, Text, UnsafeMutablePointer<timeval>, UInt8) -> CInt
    let unlock: @convention(c) (Handle, Text, Text, Text) -> CInt
    let lockers:
        @convention(c) (
            Handle, Text, Text, UnsafeMutablePointer<CInt>, UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int>,
            UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int>, UnsafeMutablePointer<CChar>,
            UnsafeMutablePointer<Int>, UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int>
        ) -> Int
    let breakLock: @convention(c) (Handle, Text, Text, Text, Text) -> CInt
    let monitorCommand:
        @convention(c) (
            Handle, UnsafeMutablePointer<Text?>, Int, Text?, Int, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
            UnsafeMutablePointer<Int>, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>, UnsafeMutablePointer<Int>
        ) -> CInt
    let freeBuffer: @convention(c) (UnsafeMutablePointer<CChar>?) -> Void
    let poolName: @convention(c) (Handle, Int64, UnsafeMutablePointer<CChar>, Int) -> CInt
    let createWrite: @convention(c) () -> Handle?
    let releaseWrite: @convention(c) (Handle) -> Void
    let writeCreate: @convention(c) (Handle, CInt, Text?) -> Void
    let writeCompare: @convention(c) (Handle, Text, UInt8, UnsafeRawPointer?, Int) -> Void
    let writeAttribute: @convention(c) (Handle, Text, UnsafeRawPointer?, Int) -> Void
    let writeBytes: @convention(c) (Handle, UnsafeRawPointer?, Int) -> Void
    let writeKeys: @convention(c) (Handle, Texts, Texts, Lengths, Lengths, Int) -> Void
    let writeRemovingKeys: @convention(c) (Handle, Texts, Lengths, Int) -> Void
    let performWrite: @convention(c) (Handle, Handle, Text, UnsafePointer<time_t>?, CInt) -> CInt
    let createRead: @convention(c) () -> Handle?
    let releaseRead: @convention(c) (Handle) -> Void
    let readKeys:
        @convention(c) (
            Handle, Text, Text, UInt64, UnsafeMutablePointer<Handle?>, UnsafeMutablePointer<UInt8>,
            UnsafeMutablePointer<CInt>
        ) -> Void
    let readValues:
        @convention(c) (
            Handle, Texts, Int, Lengths, UnsafeMutablePointer<Handle?>, UnsafeMutablePointer<CInt>
        ) -> Void
    let performRead: @convention(c) (Handle, Handle, Text, CInt) -> CInt
    let nextKey:
        @convention(c) (
            Handle, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
            UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>, UnsafeMutablePointer<Int>, UnsafeMutablePointer<Int>
        ) -> CInt
    let endKeys: @convention(c) (Handle) -> Void

    /// - Throws: `RadosError` if the library, or one of the functions, is not there.
    init() throws(RadosError) {
        let library = try SharedLibrary("librados.so.2", package: "librados2")
        create2 = try library.function("rados_create2")
        readFile = try library.function("rados_conf_read_file")
        parseEnvironment = try library.function("rados_conf_parse_env")
        set = try library.function("rados_conf_set")
        connect = try library.function("rados_connect")
        shutdown = try library.function("rados_shutdown")
        waitForLatestMap = try library.function("rados_wait_for_latest_osdmap")
        blocklist = try library.function("rados_blocklist_add")
        createContext = try library.function("rados_ioctx_create")
        createContextByID = try library.function("rados_ioctx_create2")
        destroyContext = try library.function("rados_ioctx_destroy")
        setNamespace = try library.function("rados_ioctx_set_namespace")
        setFullTry = try library.function("rados_set_pool_full_try")
        read = try library.function("rados_read")
        writeFull = try library.function("rados_write_full")
        remove = try library.function("rados_remove")
        status = try library.function("rados_stat")
        attribute = try library.function("rados_getxattr")
        lock = try library.function("rados_lock_exclusive")
        unlock = try library.function("rados_unlock")
        lockers = try library.function("rados_list_lockers")
        breakLock = try library.function("rados_break_lock")
        monitorCommand = try library.function("rados_mon_command")
        freeBuffer = try library.function("rados_buffer_free")
        poolName = try library.function("rados_pool_reverse_lookup")
        createWrite = try library.function("rados_create_write_op")
        releaseWrite = try library.function("rados_release_write_op")
        writeCreate = try library.function("rados_write_op_create")
        writeCompare = try library.function("rados_write_op_cmpxattr")
        writeAttribute = try library.function("rados_write_op_setxattr")
        writeBytes = try library.function("rados_write_op_write_full")
        writeKeys = try library.function("rados_write_op_omap_set2")
        writeRemovingKeys = try library.function("rados_write_op_omap_rm_keys2")
        performWrite = try library.function("rados_write_op_operate")
        createRead = try library.function("rados_create_read_op")
        releaseRead = try library.function("rados_release_read_op")
        readKeys = try library.function("rados_read_op_omap_get_vals2")
        readValues = try library.function("rados_read_op_omap_get_vals_by_keys2")
        performRead = try library.function("rados_read_op_operate")
        nextKey = try library.function("rados_omap_get_next2")
        endKeys = try library.function("rados_omap_get_end")
    }
}
