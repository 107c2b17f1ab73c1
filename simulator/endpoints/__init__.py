"""One function for each of the vendor's addresses: an ask and a view in, a reply or a refusal out."""
