import NIOConcurrencyHelpers

/// Bounds the memory of the pages, and the addresses, of all `StoredPages`. Any thread may use it.
final class PageCache: Sendable {
    /// The cache of this process: about as much as the samples of 2 TiB of images take.
    static let shared = PageCache(limit: 256 << 20)

    private struct Page {
        weak var owner: StoredPages?
        let number: UInt64
    }

    private struct State {
        var queue: [Page] = []
        /// Position in `queue` of the oldest page; those before it are gone.
        var first = 0
        /// Sum of the sizes of the files.
        var addresses = 0
    }

    private let most: Int
    private let mostAddresses: Int
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - limit: In bytes, at least one page.
    ///   - addresses: The largest sum of the files' sizes in bytes: an eighth of what a process has on x86-64.
    init(limit: Int, addresses: Int = 1 << 44) {
        mostAddresses = addresses
        most = max(1, limit / StoredPages.pageSize)
    }

    /// Takes addresses for a file.
    /// - Returns: False if there would be too many.
    func reserve(_ size: Int) -> Bool {
        state.withLockedValue { state in
            guard size <= mostAddresses - state.addresses else { return false }
            state.addresses += size
            return true
        }
    }

    /// Gives back what `reserve` took.
    func release(_ size: Int) { state.withLockedValue { $0.addresses -= size } }

    /// Takes new pages in, and drops old ones that were not used lately.
    func add(_ numbers: [UInt64], of owner: StoredPages) {
        state.withLockedValue { $0.queue += numbers.map { Page(owner: owner, number: $0) } }
        while let page = next() {
            // A page that was used gets another turn.
            if let owner = page.owner, owner.drop(page.number) == false {
                state.withLockedValue { $0.queue.append(page) }
            }
        }
    }

    private func next() -> Page? {
        state.withLockedValue { state in
            guard state.queue.count - state.first > most else { return nil }
            defer {
                state.first += 1
                if state.first > most {
                    state.queue.removeFirst(state.first)
                    state.first = 0
                }
            }
            return state.queue[state.first]
        }
    }
}
