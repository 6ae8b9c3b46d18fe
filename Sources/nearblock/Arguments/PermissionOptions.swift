import ArgumentParser
import Configuration
import Daemon

/// Who besides the node may use what it makes.
struct PermissionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The mode of images of disks that are moved here: 0640 (default: 0600).", valueName: "mode"),
        transform: FileMode.ofImage)
    var imageMode: FileMode?
    @Option(
        help: ArgumentHelp("Their group (default: the node's own).", valueName: "group"), transform: GroupName.init)
    var imageGroup: GroupName?
    @Option(
        help: ArgumentHelp(
            "The mode of Unix sockets for NBD clients: 0660 (default: as the umask has it).", valueName: "mode"),
        transform: FileMode.init)
    var socketMode: FileMode?
    @Option(
        help: ArgumentHelp("Their group (default: the node's own).", valueName: "group"), transform: GroupName.init)
    var socketGroup: GroupName?

    /// The command line has the last word.
    func apply(to node: inout NodeConfiguration) {
        node.imagePermissions.mode = imageMode?.bits ?? node.imagePermissions.mode
        node.imagePermissions.group = imageGroup?.number ?? node.imagePermissions.group
        node.socketPermissions.mode = socketMode?.bits ?? node.socketPermissions.mode
        node.socketPermissions.group = socketGroup?.number ?? node.socketPermissions.group
    }
}
