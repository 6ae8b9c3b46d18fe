import Logging
import Synchronization

/// The least important level that this process logs. Any thread may use it.
public enum LogThreshold {
    private static let place = Atomic<Int>(position(of: standard))

    /// The level if nobody sets another.
    public static let standard = Logger.Level.info

    /// The level now; a change takes effect with the next line.
    public static var level: Logger.Level {
        get { Logger.Level.allCases[place.load(ordering: .relaxed)] }
        set { place.store(position(of: newValue), ordering: .relaxed) }
    }

    private static func position(of level: Logger.Level) -> Int { Logger.Level.allCases.firstIndex(of: level) ?? 0 }
}
