//! UPDATE_FRAMEWORK: a framework changes what it said of itself. All or nothing.

use api::v1::{FrameworkId, FrameworkInfo};

use crate::cluster::Cluster;
use crate::effect::OfferOptions;
use crate::validation;

/// Why the update was refused, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRefused(pub String);

impl Cluster {
    /// Takes the new info over if it is valid.
    pub fn update_framework(
        &mut self,
        id: &FrameworkId,
        info: FrameworkInfo,
        options: OfferOptions,
    ) -> Result<(), UpdateRefused> {
        self.count_call(id, api::v1::scheduler::call::Type::UpdateFramework);
        let old = match self.frameworks.get(id) {
            Some(framework) => framework.info.clone(),
            None => return Err(UpdateRefused("Framework cannot be found".into())),
        };
        validation::framework::info(&info, &self.rules)
            .and_then(|()| validation::framework::update(&old, &info))
            .and_then(|()| validation::framework::options(&info, &options, &self.rules))
            .map_err(|why| UpdateRefused(format!("'UpdateFramework.framework_info' is not valid: {why}")))?;
        if self.change_framework(id, info, options) {
            self.broadcast_framework(id);
        }
        Ok(())
    }
}
