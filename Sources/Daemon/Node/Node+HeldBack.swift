import Block
import Glibc
import Logging
import Migration

/// Configured exports that can't be served, and their second chances.
extension Node {
    /// Time between looks at the paths of images that could not be opened. There are none while all exports are served.
    private static let lookInterval = Duration.seconds(2)

    /// Marks and logs a configured export that can't be served. SIGHUP tries it again, and so do a change at its
    /// path and the passing of time.
    func holdBack(_ export: ExportConfiguration, _ reason: any Error) {
        heldBack.withLockedValue { $0[export.name] = "\(reason)" }
        logger.error("\(export.name) is not offered: \(reason)")
        waiting[export.name] = WaitingExport(export, ImageAppearance(at: export.backing))
        watchWaiting()
    }

    /// Starts to look at the paths of exports that wait; does nothing if that goes on already.
    private func watchWaiting() {
        guard !isWatchingWaiting else { return }
        isWatchingWaiting = true
        tasks.append(
            Task { [weak self] in
                while !Task.isCancelled {
                    try? await Task.sleep(for: Self.lookInterval)
                    guard await self?.lookAtWaiting() == true else { return }
                }
            })
    }

    /// Tries exports whose images have changed, or were tried some time ago.
    /// - Returns: Whether any export still waits.
    private func lookAtWaiting() async -> Bool {
        for (name, export) in waiting {
            // The file system may hang, and must not stop the node.
            guard let now = try? await BlockingWork.run({ ImageAppearance(at: export.configuration.backing) }),
                export.isDue(now), waiting[name]?.seen == export.seen, !isStopping, !isReloading
            else { continue }
            let task = Task { await retry(export.configuration, now) }
            retrying = task
            await task.value
            retrying = nil
        }
        isWatchingWaiting = !waiting.isEmpty && !isStopping
        return isWatchingWaiting
    }

    private func retry(_ configuration: ExportConfiguration, _ now: ImageAppearance) async {
        let name = configuration.name
        waiting[name]?.tried(now)
        do {
            let configured = exports.values.compactMap(\.configuration) + waiting.values.map(\.configuration)
            // Any of the file systems may hang.
            try await BlockingWork.run { [standing] in standing.look(at: configured) }
            guard waiting[name]?.configuration == configuration else { return }
            guard exports[name] == nil else { throw NodeError.nameTaken(name) }
            try await open(configuration)
            waiting[name] = nil
            heldBack.withLockedValue { $0[name] = nil }
            logger.notice("\(name) is offered: its image can be opened now")
            await resumeMigrations()
        } catch {
            // A reload has decided about the export meanwhile.
            guard waiting[name]?.configuration == configuration, exports[name] == nil else { return }
            let reason = "\(error)"
            let isNews = heldBack.withLockedValue { held in
                defer { held[name] = reason }
                return held[name] != reason
            }
            if isNews { logger.error("\(name) is not offered: \(reason)") }
        }
        tellSummary()
    }

    /// Calls `tell` with a line about what the node serves, once an export can't be served, and after each change of that.
    public func tellSummary(to tell: @escaping @Sendable (String) -> Void) {
        tellingSummary = tell
        tellSummary()
    }

    func tellSummary() {
        let held = heldBack.withLockedValue { Array($0.keys) }.filter { exports[$0] == nil }.sorted()
        let line = "serving \(exports.count) export\(exports.count == 1 ? "" : "s")"
        let summary =
            held.isEmpty ? line : "\(line); not offered: \(held.joined(separator: ", ")) (see nearblock status)"
        // A node that serves everything has nothing to say.
        guard !held.isEmpty || lastSummary != nil, summary != lastSummary, let tellingSummary else { return }
        lastSummary = summary
        tellingSummary(summary)
    }

    /// Names folders of the command line or the configuration that are missing, since a mistyped path looks like one.
    /// Ask for them before the start, which makes some, and log them after it, which may fail for another reason.
    var missingFolders: [Logger.Message] {
        var lines: [Logger.Message] = []
        if let index = configuration.index, access(index, F_OK) != 0 {
            lines.append(
                "there is no index at \(index), so migrations to this node use no neighbours; see nearblock index add")
        }
        if let index = configuration.index, access(index, F_OK) == 0, access("\(index)/", F_OK) != 0 {
            lines.append(
                "\(index) is no directory, so migrations to this node use no neighbours; give --index DIR, which nearblock index add makes"
            )
        }
        if configuration.peerListen != nil, let images = configuration.images, access(images, F_OK) != 0 {
            lines.append("there was no directory \(images) for images that arrive; it has been made")
        }
        return lines
    }
}
