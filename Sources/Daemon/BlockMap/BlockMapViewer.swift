import Foundation

/// One client of the page: sends maps only when they have changed.
actor BlockMapViewer {
    private static let interval = Duration.seconds(1)

    private let feed: BlockMapFeed
    private var seen: [String: PageExport.Map] = [:]
    private var isFirst = true

    init(feed: BlockMapFeed) {
        self.feed = feed
    }

    /// Waits for the next moment; nil at the end.
    func next() async -> String? {
        if !isFirst {
            do { try await Task.sleep(for: Self.interval) } catch { return nil }
        }
        isFirst = false
        guard let event = await feed.event() else { return nil }
        let exports = event.exports.map { export in
            guard export.map == seen[export.name] else { return export }
            var export = export
            export.map = nil
            return export
        }
        seen = Dictionary(
            uniqueKeysWithValues: event.exports.compactMap { export in export.map.map { (export.name, $0) } })
        let news = PageEvent(
            time: event.time, host: event.host, clients: event.clients, exports: exports, more: event.more)
        return (try? JSONEncoder().encode(news)).map { String(decoding: $0, as: UTF8.self) }
    }
}
