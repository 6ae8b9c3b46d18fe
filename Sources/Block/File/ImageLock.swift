import CLinux
import Glibc

/// Keeps other writers off an image with QEMU's locks, so that QEMU and nearblock notice each other.
///
/// QEMU locks single bytes of the file with open-file-description locks. Byte 100 + n is for a right that is used, and
/// byte 200 + n for one that is not shared; n is 1 for
/// writing. The locks are released when the descriptor is closed.
enum ImageLock {
    private static let usesWriting: off_t = 101
    private static let doesNotShareWriting: off_t = 201

    /// Tries, and microseconds between them. A writer that has ended may hold its lock a moment longer, because its
    /// forked child keeps the descriptors until it executes another program.
    private static let retries = (attempts: 20, pauseMicroseconds: 10_000 as UInt32)

    /// Takes the locks.
    /// - Throws: `ImageInUse` if another writer has the image.
    static func acquire(_ descriptor: CInt, _ path: String) throws {
        for attempt in 1... {
            do {
                return try tryToAcquire(descriptor, path)
            } catch  where attempt < retries.attempts {
                // A lock that is only half taken must not keep others off during the pause.
                for byte in [usesWriting, doesNotShareWriting] { linux_unlock_byte(descriptor, byte) }
                usleep(retries.pauseMicroseconds)
            }
        }
    }

    private static func tryToAcquire(_ descriptor: CInt, _ path: String) throws {
        for byte in [usesWriting, doesNotShareWriting] {
            guard linux_lock_byte(descriptor, byte, 0) == 0 else {
                // A file system without locks can't tell writers apart.
                if errno == EAGAIN || errno == EACCES { throw ImageInUse(path: path) }
                return
            }
        }
        for byte in [usesWriting, doesNotShareWriting] where linux_byte_is_locked(descriptor, byte) == 1 {
            throw ImageInUse(path: path)
        }
    }
}
