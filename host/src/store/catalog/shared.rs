//! Mapping documents that several flows share.

use super::{Catalog, Kept, kept};
use crate::flow::AccountId;
use crate::flow::shared::SharedMapping;
use crate::store::Error;
use crate::store::database::Sql;

impl Catalog {
    /// A shared mapping as it stands; none before it is first saved.
    pub async fn shared_mapping(
        &self,
        account: &AccountId,
        name: &str,
    ) -> Result<Option<Kept<SharedMapping>>, Error> {
        let values = vec![account.as_str().into(), name.into()];
        let rows = self.shared.one(&SHARED, values).await?;
        rows.first().map(kept).transpose()
    }
}

static SHARED: Sql = Sql {
    text: "select document, version, updated_at from shared_mapping where account_id = ? and id = ?",
    kinds: &[],
};
