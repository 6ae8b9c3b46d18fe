/// Reasons why an index can't be used or changed, other than a failed system call (`FileError`).
public enum IndexError: Error, Equatable, CustomStringConvertible {
    /// The directory holds no `index.json`.
    case noIndex(directory: String)
    /// The contents of `index.json` are not valid.
    case damagedSettings(file: String)
    /// A later version of nearblock made the index.
    case laterVersion(directory: String, version: Int)
    /// The block size is not a power of two from 512 to 65536.
    case blockSize(Int)
    /// The index already has another block size.
    case otherBlockSize(directory: String, has: Int, wanted: Int)
    /// The index has no usable table for the image.
    case notIndexed(image: String, directory: String)
    /// The path is not UTF-8, or longer than 4096 bytes.
    case name(String)
    /// The name of the domain is empty or longer than 255 bytes.
    case domain(String)
    /// The image has more blocks than a table can number.
    case tooManyBlocks(image: String, blocks: UInt64)
    /// A catalogue would have 2^32 entries or more, or a disk more blocks than an entry can number.
    case tooManyFingerprints
    /// The path is neither a file nor a block device.
    case notAnImage(String)

    /// Message for the user, in one line.
    public var description: String {
        switch self {
        case .noIndex(let directory):
            "\(directory) holds no index: make one with `nearblock index add --index \(directory) IMAGE`"
        case .damagedSettings(let file):
            "\(file) is damaged: delete the directory and add the images again"
        case .laterVersion(let directory, let version):
            "the index in \(directory) has version \(version), too new for this nearblock: use a newer one"
        case .blockSize(let size):
            "a block size of \(size) can't be used: choose a power of two from 512 to 65536"
        case .otherBlockSize(let directory, let has, let wanted):
            "the index in \(directory) has blocks of \(has) bytes, not \(wanted): use \(has) or another index"
        case .notIndexed(let image, let directory):
            "\(image) is not in the index in \(directory): see `nearblock index list --index \(directory)`"
        case .name(let path):
            "\(path) can't be named in an index: use a name in UTF-8 of at most 4096 bytes"
        case .domain(let domain):
            "'\(domain)' can't be the name of a domain: use 1 to 255 bytes"
        case .tooManyBlocks(let image, let blocks):
            "\(image) has \(blocks) blocks, more than a table can number: use an index with larger blocks"
        case .tooManyFingerprints:
            "there are too many blocks for one catalogue: use larger blocks, or several indexes"
        case .notAnImage(let path):
            "\(path) is neither a file nor a block device: name a raw disk image or an NBD URI"
        }
    }
}
