//! What the cluster lacks, in sentences for people.

use super::definitions::Problem;
use crate::cluster::access::Right;

/// What the cluster lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// By the names of the definitions.
    pub definitions: Vec<(String, Problem)>,
    pub rights: Vec<Right>,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty() && self.rights.is_empty()
    }

    /// What is lacking and the commands that mend it.
    pub fn sentence(&self) -> String {
        let mut sentences = Vec::new();
        if !self.definitions.is_empty() {
            let problems: Vec<_> = self.definitions.iter().map(|(name, problem)| problem.sentence(name)).collect();
            let mend = "`portcullis-operator crds | kubectl apply --server-side --force-conflicts -f -` or `helm upgrade` installs it";
            sentences.push(format!("{}; {mend}", problems.join("; ")));
        }
        if !self.rights.is_empty() {
            let rights = self.rights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let mend = "`portcullis-operator rbac | kubectl apply --server-side -f -` or `helm upgrade` grants them";
            sentences.push(format!("the account of the operator lacks the rights to {rights}; {mend}"));
        }
        sentences.join("; ")
    }
}
