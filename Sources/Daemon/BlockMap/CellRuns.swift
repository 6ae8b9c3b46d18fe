import BlockModel

/// Writes a picture's cells as text: a letter for each cell. Behind it stands the length of a run of equal ones, if it is more
/// than 1. Letters are numbered as in `A`…`Z`, `a`…`f`: the largest state, plus 8 if some blocks are dirty, plus 16 if some
/// are missing.
enum CellRuns {
    private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef")
    private static let missing = BlockOrigin.allCases.count
    private static let dirty = missing + 1

    static func text(_ cells: [BlockPicture.Cell]) -> String {
        var text = ""
        var run: (code: Int, count: Int)?
        func end() {
            guard let run else { return }
            text.append(letters[run.code])
            if run.count > 1 { text += "\(run.count)" }
        }
        for code in cells.map(code) {
            if let last = run, last.code == code {
                run = (code, last.count + 1)
            } else {
                end()
                run = (code, 1)
            }
        }
        end()
        return text
    }

    private static func code(_ cell: BlockPicture.Cell) -> Int {
        let counts = cell.arrived + [cell.missing, cell.dirty]
        let largest = counts.indices.max { counts[$0] < counts[$1] } ?? 0
        return largest + (cell.dirty > 0 && largest != dirty ? 8 : 0)
            + (cell.missing > 0 && largest != missing ? 16 : 0)
    }
}
