import Block
import Glibc

/// Reasons why a file of an index is skipped.
enum TableFault: Error, Equatable {
    /// The file is gone since the directory was listed: another process has removed it, and nothing is wrong.
    case gone
    case unreadable(CInt)
    case foreign
    case version(UInt32)
    case truncated
    case damaged(String)
    case blockSize(Int)
    /// The file has another name than its neighbour's table must have.
    case misnamed(neighbour: String)

    /// Whether the file has this version's format and is broken.
    var isDamage: Bool {
        switch self {
        case .truncated, .damaged: true
        default: false
        }
    }

    /// The error of a file that this process has just written.
    func fileError(_ path: String) -> FileError {
        guard case .unreadable(let code) = self else { return FileError("read", path, code: ENOENT) }
        return FileError("read", path, code: code)
    }

    /// Describes the fault and the remedy; the message follows the file's name.
    /// - Parameter remedy: Instruction to make such a file anew.
    func explanation(remedy: String) -> String {
        switch self {
        case .gone: "is gone"
        case .unreadable(let code):
            "can't be read (\(String(cString: strerror(code)))): check the disk and its rights"
        case .foreign: "is not a nearblock table: delete it"
        case .version(let version): "has version \(version), which this nearblock doesn't know: \(remedy)"
        case .truncated: "has the wrong length: \(remedy)"
        case .damaged(let part): "is damaged (\(part)): \(remedy)"
        case .blockSize(let size): "has blocks of \(size) bytes, unlike the index: \(remedy)"
        case .misnamed(let neighbour): "is not where the table of \(neighbour) belongs: delete it"
        }
    }
}
