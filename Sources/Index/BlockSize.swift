/// The block sizes that an index may have.
enum BlockSize {
    static let standard = 4096

    static func isValid(_ size: Int) -> Bool {
        (512...65536).contains(size) && size & (size - 1) == 0
    }
}
