//! Bitstream parsing: NAL units, access units and parameter sets, without decoding.
