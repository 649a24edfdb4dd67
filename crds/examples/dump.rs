fn main() {
    for (n, d) in portcullis_crds::manifest::all() {
        std::fs::write(format!("crds/{n}"), portcullis_crds::manifest::print(&d).unwrap()).unwrap();
    }
    std::fs::write("docs/resources.md", portcullis_crds::reference::resources()).unwrap();
}
