"""Conformance checks, one file a contract: what a part of ours or of yours must do to be one."""

from gemel.testing.actuator import check_actuator as check_actuator
from gemel.testing.forecaster import check_forecaster as check_forecaster
from gemel.testing.policy import check_policy as check_policy
from gemel.testing.source import check_source as check_source
from gemel.testing.store import check_store as check_store
from gemel.testing.transform import check_transform as check_transform
from gemel.testing.transform import check_view as check_view
