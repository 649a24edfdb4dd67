//! Builds the images of the two programs without a container engine: an archive that container engines, containerd and skopeo
//! import, and a bill of materials beside it. The same sources, compiler and C library give the same bytes, in whatever folder.
//!
//! What is in an image is in `image`; `server/Dockerfile` and `operator/Dockerfile` build the same with an engine, and a test
//! compares them. Pushing an image to a registry is left to other tools.

mod archive;
pub mod cli;
mod compile;
pub mod image;
mod reference;
mod sbom;
pub mod workspace;
