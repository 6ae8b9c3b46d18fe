import Testing

@testable import MigrationProtocol

/// As `#expect`, for conditions that change a machine: the macro does not take those.
func holds(
    _ condition: Bool, _ comment: String = "", sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(condition, "\(comment)", sourceLocation: sourceLocation)
}
