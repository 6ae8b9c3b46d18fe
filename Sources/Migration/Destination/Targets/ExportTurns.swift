/// Lets the commands of one export run one after the other.
actor ExportTurns {
    private var waiting: [String: [CheckedContinuation<Void, Never>]] = [:]

    /// Waits for the export's turn; `end` must follow.
    func begin(_ export: String) async {
        if waiting[export] == nil {
            waiting[export] = []
        } else {
            await withCheckedContinuation { waiting[export]?.append($0) }
        }
    }

    func end(_ export: String) {
        guard var queue = waiting[export], !queue.isEmpty else {
            waiting[export] = nil
            return
        }
        let next = queue.removeFirst()
        waiting[export] = queue
        next.resume()
    }
}
