//! `#[derive(Message)]`: a message of one's own in one line.

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr, parse_macro_input};

/// Implements `libprocess::Message` for a type that is `Serialize` and `Deserialize`.
///
/// The wire name is the module path and the type's name, or what `#[message(name = "…")]` says.
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let ident = &input.ident;
    if !input.generics.params.is_empty() {
        return syn::Error::new_spanned(
            &input.generics,
            "a message has one wire name, so its type cannot be generic",
        )
        .to_compile_error()
        .into();
    }
    let mut name = quote!(concat!(module_path!(), "::", stringify!(#ident)));
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("message")) {
        let parsed = attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("name") {
                return Err(meta.error("expected `name = \"…\"`"));
            }
            let literal: LitStr = meta.value()?.parse()?;
            // It is a part of the path of a request in Apache's wire format.
            if literal.value().is_empty() || !literal.value().bytes().all(|byte| byte.is_ascii_graphic()) {
                let text = "a wire name is visible ASCII characters without spaces, and not empty";
                return Err(syn::Error::new_spanned(&literal, text));
            }
            name = quote!(#literal);
            Ok(())
        });
        if let Err(error) = parsed {
            return error.to_compile_error().into();
        }
    }
    quote! {
        impl ::libprocess::Message for #ident {
            fn name() -> &'static str {
                #name
            }
            fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                ::libprocess::codec::encode(self, out);
            }
            fn decode(body: &[u8]) -> ::std::result::Result<Self, ::libprocess::DecodeError> {
                ::libprocess::codec::decode(<Self as ::libprocess::Message>::name(), body)
            }
        }
    }
    .into()
}
