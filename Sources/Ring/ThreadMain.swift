/// Carries a thread's body through `pthread_create`.
final class ThreadMain {
    let body: () -> Void

    init(body: @escaping () -> Void) {
        self.body = body
    }
}
