/// The functions of librbd that nearblock calls, loaded like those of `RadosLibrary`.
///
/// Each pointer has the name and the type of the function in `rbd/librbd.h` of Ceph 16.2. All block the thread.
struct RBDLibrary: Sendable {
    typealias Handle = RadosLibrary.Handle
    typealias Text = RadosLibrary.Text

    /// `rbd_image_watcher_t`.
    struct Watcher {
        var address: UnsafeMutablePointer<CChar>?
        var id: Int64 = 0
        var cookie: UInt64 = 0
    }

    let openReadOnly: @convention(c) (Handle, Text, UnsafeMutablePointer<Handle?>, Text?) -> CInt
    let close: @convention(c) (Handle) -> CInt
    let id: @convention(c) (Handle, UnsafeMutablePointer<CChar>, Int) -> CInt
    let watchers: @convention(c) (Handle, UnsafeMutableRawPointer, UnsafeMutablePointer<Int>) -> CInt
    let freeWatchers: @convention(c) (UnsafeMutableRawPointer, Int) -> Void
    let information: @convention(c) (Handle, UnsafeMutableRawPointer, Int) -> CInt
    let features: @convention(c) (Handle, UnsafeMutablePointer<UInt64>) -> CInt
    let blockPrefix: @convention(c) (Handle, UnsafeMutablePointer<CChar>, Int) -> CInt
    let dataPool: @convention(c) (Handle) -> Int64

    /// - Throws: `RadosError` if the library, or one of the functions, is not there.
    init() throws(RadosError) {
        let library = try SharedLibrary("librbd.so.1", package: "librbd1")
        openReadOnly = try library.function("rbd_open_read_only")
        close = try library.function("rbd_close")
        id = try library.function("rbd_get_id")
        watchers = try library.function("rbd_watchers_list")
        freeWatchers = try library.function("rbd_watchers_list_cleanup")
        information = try library.function("rbd_stat")
        features = try library.function("rbd_get_features")
        blockPrefix = try library.function("rbd_get_block_name_prefix")
        dataPool = try library.function("rbd_get_data_pool_id")
    }
}
