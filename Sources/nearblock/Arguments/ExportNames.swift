import ArgumentParser
import Daemon

/// Completes names of exports in a shell: those that the node has, which its control socket tells.
enum ExportNames {
    /// A shell waits for the answer.
    private static let patience = Duration.milliseconds(800)

    /// Gives nothing if the node does not answer in time.
    static let completion = CompletionKind.custom(complete)

    @Sendable
    private static func complete(_ words: [String], _ index: Int, _ prefix: String) async -> [String] {
        let given = Set(words.enumerated().filter { $0.offset != index }.map(\.element))
        return await names(at: control(in: words)).filter { !given.contains($0) }
    }

    /// The value of `--control` on an unfinished command line.
    private static func control(in words: [String]) -> String {
        let option = "--control"
        if let place = words.firstIndex(of: option), place + 1 < words.count { return unquoted(words[place + 1]) }
        if let word = words.first(where: { $0.hasPrefix("\(option)=") }) {
            return unquoted(String(word.dropFirst(option.count + 1)))
        }
        return DefaultPaths.control
    }

    /// Shells pass words on as they were typed.
    private static func unquoted(_ word: String) -> String { word.filter { !#"'"\"#.contains($0) } }

    private static func names(at control: String) async -> [String] {
        let (answers, give) = AsyncStream<[String]>.makeStream()
        Task { give.yield((try? await ask(control)) ?? []) }
        Task {
            try? await Task.sleep(for: patience)
            give.yield([])
        }
        for await answer in answers { return answer }
        return []
    }

    private static func ask(_ control: String) async throws -> [String] {
        if control == DefaultPaths.control { try ControlDirectory.secure(for: control) }
        guard case .status(let exports, _, _) = try await ControlClient.ask(.status, at: control) else { return [] }
        return exports.map(\.export).sorted()
    }
}
