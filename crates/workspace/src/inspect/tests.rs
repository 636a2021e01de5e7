//! Changes that lie and changes that do not, each as two small texts.
use super::*;
