"""Conformance checks, one file a contract: what a part of ours or of yours must do to be one."""

from gemel.testing.actuator import check_actuator as check_actuator
from gemel.testing.detector import check_detector as check_detector
from gemel.testing.estimator import check_estimator as check_estimator
from gemel.testing.explainer import check_explainer as check_explainer
from gemel.testing.forecaster import check_forecaster as check_forecaster
from gemel.testing.notifier import check_notifier as check_notifier
from gemel.testing.policy import check_policy as check_policy
from gemel.testing.simulator import check_simulator as check_simulator
from gemel.testing.source import check_source as check_source
from gemel.testing.store import check_store as check_store
from gemel.testing.transform import check_transform as check_transform
from gemel.testing.transform import check_view as check_view
