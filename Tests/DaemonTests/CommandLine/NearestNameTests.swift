import Daemon
import Testing

@Suite("The nearest name")
struct NearestNameTests {
    @Test(
        "A slip -> the name that was meant",
        arguments: [
            ("dsk", "disk"), ("disks", "disk"), ("diks", "disk"), ("DISK", "disk"), ("idsk", "disk"),
            ("databse", "database"), ("dtaabase", "database"),
        ])
    func slip(_ typed: String, _ meant: String) {
        #expect(NearestName.find(typed, among: ["log", "disk", "database"]) == meant)
    }

    @Test("Nothing near, an empty name, a name beyond all bounds -> nil", arguments: ["web", "", "d", "x"])
    func nothing(_ typed: String) {
        #expect(NearestName.find(typed, among: ["log", "disk", ""]) == nil)
        #expect(NearestName.find(typed, among: []) == nil)
        let long = String(repeating: "a", count: 4096)
        #expect(NearestName.find(long, among: [long + "b"]) == nil)
        #expect(NearestName.find("disk", among: [long]) == nil)
    }
}
