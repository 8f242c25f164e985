"""The C++ part of the package: optional, built by `build`, loaded by `library`; without it everything runs in torch."""
