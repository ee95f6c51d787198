//! Teaches sqlx the id newtypes of `kit`: each is stored as its UUID (PostgreSQL `uuid`, SQLite 16-byte blob).

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::{Database, Decode, Encode, Type};
use uuid::Uuid;

macro_rules! stored_as_uuid {
    ($($id:ty),*) => {$(
        impl<D: Database> Type<D> for $id
        where
            Uuid: Type<D>,
        {
            fn type_info() -> D::TypeInfo {
                <Uuid as Type<D>>::type_info()
            }

            fn compatible(ty: &D::TypeInfo) -> bool {
                <Uuid as Type<D>>::compatible(ty)
            }
        }

        impl PgHasArrayType for $id {
            fn array_type_info() -> PgTypeInfo {
                Uuid::array_type_info()
            }
        }

        impl<'q, D: Database> Encode<'q, D> for $id
        where
            Uuid: Encode<'q, D>,
        {
            fn encode_by_ref(&self, buffer: &mut D::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                self.as_uuid().encode_by_ref(buffer)
            }
        }

        impl<'r, D: Database> Decode<'r, D> for $id
        where
            Uuid: Decode<'r, D>,
        {
            fn decode(value: D::ValueRef<'r>) -> Result<Self, BoxDynError> {
                Uuid::decode(value).map(Self::from_uuid)
            }
        }
    )*};
}

crate::kit::id::for_each_id!(stored_as_uuid);
