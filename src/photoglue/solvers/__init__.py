"""From matches to geometry with robust estimators: one file for each library that has them."""
