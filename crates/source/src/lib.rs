//! Where frames come from: files, folders and the test pattern
