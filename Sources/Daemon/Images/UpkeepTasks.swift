import Logging

/// The tasks that keep the index current, at most one for each export.
struct UpkeepTasks {
    private let directory: String?
    private let interval: Duration?
    private let logger: Logger
    private var running: [String: Task<Void, Never>] = [:]
    /// Cancelled tasks that may still be writing their last table, by export name.
    private var ending: [String: Task<Void, Never>] = [:]

    /// - Parameters:
    ///   - directory: Directory of the index.
    ///   - interval: Time between updates. Without it or a directory, no task is ever started.
    init(directory: String?, interval: Duration?, logger: Logger) {
        self.directory = directory
        self.interval = interval
        self.logger = logger
    }

    /// All tasks that may still run.
    var all: [Task<Void, Never>] { Array(running.values) + Array(ending.values) }

    /// Starts to keep the index of an export's image current, unless that runs already or the disk is moving.
    mutating func start(for export: NodeExport) {
        guard let interval, let directory, running[export.name] == nil, let image = export.backing?.file,
            export.isAtRest
        else { return }
        let work = IndexUpkeep(
            disk: export.export.disk, path: image.path, directory: directory, interval: interval, logger: logger)
        // Wait for the earlier task, whose last table would otherwise replace a newer one.
        let previous = ending.removeValue(forKey: export.name)
        running[export.name] = Task {
            await previous?.value
            await work.run()
        }
    }

    /// Cancels the task of an export, and does not wait for it.
    mutating func end(of name: String) {
        guard let task = running.removeValue(forKey: name) else { return }
        task.cancel()
        ending[name] = task
    }
}
