import Glibc
import NIOConcurrencyHelpers

/// Lets the creator of a thread wait until the thread has reported how its start went: 0, or an `errno`.
final class StartSignal: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>
    private let code = NIOLockedValueBox<CInt>(0)

    init() {
        semaphore = .allocate(capacity: 1)
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func signal(_ code: CInt) {
        self.code.withLockedValue { $0 = code }
        sem_post(semaphore)
    }

    func wait() -> CInt {
        while sem_wait(semaphore) != 0 {}
        return code.withLockedValue { $0 }
    }
}
